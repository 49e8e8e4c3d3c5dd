"""MQTT 3.1.1 over WebSocket and TLS, and Azure IoT device provisioning (DPS) on top."""
