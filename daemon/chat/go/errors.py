class GoTemplateError(ValueError):
    """A template that cannot be run; the text names the place and what it is that is wrong or not known."""
