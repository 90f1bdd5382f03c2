"""Every setting of gradwire, what each may be, and what goes together."""
