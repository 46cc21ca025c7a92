"""Errors of the privacy core. None of them ever holds a value taken from a row."""


class PrivacyError(Exception):
    """Base of all errors that this package raises on purpose."""


class Refusal(PrivacyError):
    """A question that is not answered, decided from public facts alone and without charge."""

    def __init__(self, code: str, en: str, zh: str) -> None:
        """Keep a stable code and one sentence with the nearest allowed form, in two languages."""
        self.code, self.en, self.zh = code, en, zh
        super().__init__(en)

    def text(self, language: str) -> str:
        """Return the sentence in `zh` or, for any other language, in English."""
        return self.zh if language == "zh" else self.en
