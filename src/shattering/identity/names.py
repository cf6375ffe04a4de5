"""Names of a user's objects in specifications, such as models and datasets: "object:LABEL:DIGEST"."""

_PREFIX = "object:"


def name_of(label: str, digest: str) -> str:
    """Return the name of an object in a spec: "object:LABEL:DIGEST". The digest of its content and source is its identity."""
    return f"{_PREFIX}{label.replace(':', '.')}:{digest}"


def is_object(name: str) -> bool:
    """Return whether the dataset, model or other part of a specification that has this name is an object."""
    return name.startswith(_PREFIX) and name.count(":") == 2


def label(name: str) -> str:
    """Return the object's label."""
    return name.split(":")[1]


def digest_of(name: str) -> str:
    """Return the object's identity, without its label."""
    return _PREFIX + name.split(":")[2]
