"""Physics models by name, from the entry-point group `qdpem.physics` of any installed package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import EntryPoint
from types import MappingProxyType
from typing import Any, Final, cast

from physics.errors import UnknownNameError
from physics.interface import PhysicsModel
from physics.plugins import entry_points

GROUP: Final = "qdpem.physics"
"""The group of entry points that offers physics models."""
_KIND: Final = "physics model"
_NO_PARAMETERS: Final[Mapping[str, object]] = MappingProxyType({})


class UnknownPhysicsError(UnknownNameError):
    """A name that no physics model is registered under, answered with the nearest right one."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(_KIND, name, known)


def physics_names() -> list[str]:
    """Sorted names of the physics models that installed packages offer. Nothing is imported.

    >>> [name for name in physics_names() if name in ("pauli", "qutip")]
    ['pauli', 'qutip']
    """
    return sorted(_installed())


def load_physics(name: str, parameters: Mapping[str, object] = _NO_PARAMETERS) -> PhysicsModel:
    """The model registered as `name`, built with its own `parameters`.

    An entry point must name a class. A class that takes parameters declares them in a frozen dataclass
    `Parameters` and is built as `Factory(Factory.Parameters(...))`; any other is built as `Factory()`.
    Raises UnknownPhysicsError for a name that is not registered, ValueError for a class that cannot be
    loaded and for parameters it does not have, and TypeError for an entry point that names no class or no
    physics model.

    >>> load_physics("pauli").name
    'pauli'
    """
    points = _installed()
    if name not in points:
        raise UnknownPhysicsError(name, points)
    model = _build(name, _factory(name, points[name]), parameters)
    where = f"{_KIND} {name!r} ({points[name].value})"
    # A protocol checks only that the members exist; `physics.conformance` checks what they do.
    if not isinstance(model, PhysicsModel):
        missing = [member for member in _members() if not hasattr(model, member)]
        raise TypeError(f"{where} lacks {', '.join(missing)}")
    if model.name != name:
        raise TypeError(f"{where} calls itself {model.name!r}")
    return model


def load_reference(model: PhysicsModel) -> PhysicsModel | None:
    """The model that `model.reference` names and `model` claims to equal; None when it names none.

    The reference is built with those of `model.parameters` that it takes itself. Raises the errors of
    `load_physics`.

    >>> from physics.models.pauli import PauliModel
    >>> load_reference(PauliModel()).name
    'qutip'
    """
    name = getattr(model, "reference", None)
    if name is None:
        return None
    points = _installed()
    parameters = getattr(model, "parameters", None)
    # A reference that is not registered is left to `load_physics`, whose error names it.
    taken = _parameter_names(_factory(name, points[name])) if name in points else []
    return load_physics(name, {key: getattr(parameters, key) for key in taken if hasattr(parameters, key)})


def distribution_of(name: str) -> str:
    """The installed package that offers the physics model `name`, and its version; "" when unknown.

    >>> distribution_of("pauli").split()[0]
    'qdpem'
    """
    point = _installed().get(name)
    return "" if point is None else entry_points.distribution(point)


def _installed() -> Mapping[str, EntryPoint]:
    return entry_points.installed(GROUP)


def _factory(name: str, point: EntryPoint) -> Any:
    """The class that an entry point names; an error on the way names the plugin."""
    factory = entry_points.load(_KIND, point)
    where = f"{_KIND} {name!r} ({point.value})"
    if not isinstance(factory, type):
        raise TypeError(f"{where} is {factory!r}; an entry point must lead to a class")
    kind = getattr(factory, "Parameters", None)
    if kind is not None and not is_dataclass(kind):
        raise TypeError(f"{where} has Parameters = {kind!r}; it must be a frozen dataclass")
    return factory


def _build(name: str, factory: Any, parameters: Mapping[str, object]) -> object:
    kind, allowed = getattr(factory, "Parameters", None), _parameter_names(factory)
    unknown = sorted(set(parameters) - set(allowed))
    if unknown:
        known = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
        raise ValueError(f"{_KIND} {name!r} has no parameter {', '.join(map(repr, unknown))}; {known}")
    try:
        return cast(object, factory() if kind is None else factory(kind(**parameters)))
    except TypeError as error:
        raise ValueError(f"{_KIND} {name!r} cannot be built with {dict(parameters)}: {error}") from error


def _parameter_names(factory: Any) -> list[str]:
    kind = getattr(factory, "Parameters", None)
    return [] if kind is None else [field.name for field in fields(kind)]


def _members() -> list[str]:
    public = [member for member in vars(PhysicsModel) if not member.startswith("_")]
    return ["name", *public]
