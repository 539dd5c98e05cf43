"""What runs inside the service's processes."""
