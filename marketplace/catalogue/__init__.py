"""What data there is: metadata that anyone signed in may search, its versions, who may publish."""
