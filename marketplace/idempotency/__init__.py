"""A request that is sent twice under one key is carried out once."""
