"""Tests of ``mqttws.dps``; a package, so that its modules may be named like those they mirror."""
