"""The portal: server-rendered pages in Chinese and English over the marketplace's own services."""
