"""What operators see of a running service: health, metrics, logs, traces."""
