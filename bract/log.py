"""Lines of the run's log. Flower's logger, by its name: `flwr log` shows them, and the machine where they are said."""

import logging

log = logging.getLogger("flwr").log
