"""The ways through a network: names, TCP, proxies, TLS and WebSocket, up to a stream of bytes."""
