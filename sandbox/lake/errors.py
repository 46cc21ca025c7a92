"""Errors of the lake: facts, numbers and the next step, never a value taken from a row."""


class LakeError(Exception):
    """Base of all errors that the lake raises on purpose; a command shows it without traceback."""


class ContractError(LakeError):
    """A contract that cannot be used: its owner has to change it."""

    def __init__(self, source: str, fault: str) -> None:
        """Say which contract and what is wrong with it."""
        self.source, self.fault = source, fault
        super().__init__(f"{source}: {fault}")


class IntegrityError(LakeError):
    """Stored bytes that are not what was written: nothing may be answered from them."""


class UnknownTableError(LakeError):
    """A table without a current version."""

    def __init__(self, name: str) -> None:
        """Say how a table comes into being."""
        self.name = name
        super().__init__(
            f"The lake holds no table {name}. Store it first: lab ingest CONTRACT FILE"
        )
