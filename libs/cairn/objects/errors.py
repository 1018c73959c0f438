"""What can go wrong with objects, in two kinds: about the object (final), about the store (wait and try again)."""


class ObjectError(Exception):
    """This object will not be had, however often it is tried. The message is for a person."""


class ObjectMissing(ObjectError):
    """The store has no object of this digest."""


class ObjectCorrupt(ObjectError):
    """What is stored there are other bytes than the reference names."""


class ObjectRefused(ObjectError):
    """The object is not read: it is larger than the reader takes, or in a place that this store may not read."""


class StoreUnreachable(Exception):
    """The store does not serve just now: callers wait and try again, for ever. The message is for a person."""


class AccessRefused(StoreUnreachable):
    """The store answers, but not to these credentials: it needs a person, and then it goes on."""
