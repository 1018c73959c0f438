"""What cannot be worked with: data, packages."""


class ModelkitError(Exception):
    """Something given from outside cannot be worked with.

    `code` is for programs, a word in kebab case; `text` is a sentence for people. It survives pickling.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.text


class DataError(ModelkitError):
    """A dataset, or a row of a request, is not what it has to be."""


class PackageError(ModelkitError):
    """A model package is not what its manifest says, or holds what a package may not hold."""
