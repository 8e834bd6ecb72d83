"""What the framers of all wire formats share."""


class FramingError(ValueError):
    """The bytes cannot be framed. The stream cannot be read on."""
