"""The portal's message catalogues: one JSON object of texts for each language."""
