"""What a machine has, from its files and from NVML, as a document for ``moorage load``."""
