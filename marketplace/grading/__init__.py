"""How sensitive a field is, what changes that, and what law keeps closed altogether."""
