"""``python -m mqttws`` is ``mqttws``."""

from .cli import main

if __name__ == "__main__":
    main()
