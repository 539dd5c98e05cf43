"""The process that serves over HTTP: its listening socket, its workers, and what they answer with."""
