"""Physics models by name, from the entry-point group `qdpem.physics` of any installed package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, cast

from physics.errors import UnknownNameError
from physics.interface import PhysicsModel

GROUP: Final = "qdpem.physics"
_NO_PARAMETERS: Final[Mapping[str, object]] = MappingProxyType({})


class UnknownPhysicsError(UnknownNameError):
    """A name that no physics model is registered under, answered with the nearest right one."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__("physics model", name, known)


def physics_names() -> list[str]:
    """Sorted names of the physics models that installed packages offer. Nothing is imported.

    >>> [name for name in physics_names() if name in ("pauli", "qutip")]
    ['pauli', 'qutip']
    """
    return sorted(_found())


def load_physics(name: str, parameters: Mapping[str, object] = _NO_PARAMETERS) -> PhysicsModel:
    """The model registered as `name`, built with its own `parameters`.

    A factory is a class; one that takes parameters names them in a frozen dataclass `Parameters` and is
    built as `Factory(Factory.Parameters(...))`, any other as `Factory()`. Raises UnknownPhysicsError for a
    name that is not registered, ValueError for one that cannot be loaded and for parameters it does not
    have, TypeError for what is not a class, or makes no physics model.

    >>> load_physics("pauli").name
    'pauli'
    """
    found = _found()
    if name not in found:
        raise UnknownPhysicsError(name, found)
    model = _build(name, _factory(name, found[name]), parameters)
    if not isinstance(model, PhysicsModel):
        missing = [part for part in _members() if not hasattr(model, part)]
        raise TypeError(f"physics model {name!r} ({found[name].value}) lacks {', '.join(missing)}")
    if model.name != name:
        raise TypeError(f"physics model {name!r} ({found[name].value}) calls itself {model.name!r}")
    return model


def load_reference(model: PhysicsModel) -> PhysicsModel | None:
    """The model that `model.reference` names, what it says it is equal to; None when it names none.

    It is built with those of `model.parameters` that it takes itself. Raises as `load_physics` does.

    >>> from physics.pauli import PauliModel
    >>> load_reference(PauliModel()).name
    'qutip'
    """
    name = getattr(model, "reference", None)
    if name is None:
        return None
    found = _found()
    given = getattr(model, "parameters", None)
    taken = _parameter_names(_factory(name, found[name])) if name in found else []
    return load_physics(name, {key: getattr(given, key) for key in taken if hasattr(given, key)})


def distribution_of(name: str) -> str:
    """The installed package that offers the physics model `name`, and its version; "" when unknown.

    >>> distribution_of("pauli").split()[0]
    'qdpem'
    """
    point = _found().get(name)
    return f"{point.dist.name} {point.dist.version}" if point is not None and point.dist is not None else ""


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _factory(name: str, point: EntryPoint) -> Any:
    """The class an entry point leads to; whatever goes wrong on the way is told as the plugin's."""
    where = f"physics model {name!r} ({point.value})"
    try:
        factory = point.load()
    except Exception as error:
        raise ValueError(f"{where} cannot be loaded: {error}") from error
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
        right = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
        raise ValueError(f"physics model {name!r} has no parameter {', '.join(map(repr, unknown))}; {right}")
    try:
        return cast(object, factory() if kind is None else factory(kind(**parameters)))
    except TypeError as error:
        raise ValueError(
            f"physics model {name!r} cannot be built with {dict(parameters)}: {error}"
        ) from error


def _parameter_names(factory: Any) -> list[str]:
    kind = getattr(factory, "Parameters", None)
    return [] if kind is None else [field.name for field in fields(kind)]


def _members() -> list[str]:
    public = [part for part in vars(PhysicsModel) if not part.startswith("_")]
    return ["name", *public]
