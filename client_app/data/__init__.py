"""The device's examples, kept between messages."""
