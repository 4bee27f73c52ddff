"""From HTML to image-text pairs and to interleaved documents."""
