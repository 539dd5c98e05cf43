"""Sources of reports: files, Nova, and the processes and domains of a host."""
