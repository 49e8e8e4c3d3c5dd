"""The MQTT client: connections kept up, sessions, queues and streams; for asyncio, and without."""
