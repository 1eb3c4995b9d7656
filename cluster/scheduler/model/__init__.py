"""What a pod asks for, read once from its object. Pure values; nothing here knows of nodes."""
