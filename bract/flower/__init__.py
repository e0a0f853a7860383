"""All that touches Flower's private parts beside a SuperLink or a SuperNode."""
