"""The local cluster."""


def prepare() -> None: ...
