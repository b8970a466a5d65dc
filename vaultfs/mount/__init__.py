"""The pyfuse3 adapter: an open vault served to the kernel, from mounting to the clean end."""
