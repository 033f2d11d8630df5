"""The ground floor under every room: messages to people, progress, and files written whole or not at all."""
