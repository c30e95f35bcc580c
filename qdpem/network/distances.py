"""Distances on the Earth and on a plane, and the projection of one on the other."""

from __future__ import annotations

import math

import numpy as np

from qdpem.arrays import Floats
from qdpem.scenario.words import PositionUnit

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""


def great_circle_km(
    first_longitude: float, first_latitude: float, second_longitude: float, second_latitude: float
) -> float:
    """Distance in km between two points given in degrees, by the haversine formula (Sinnott 1984).

    >>> round(great_circle_km(0.0, 0.0, 0.0, 90.0))
    10008
    """
    low, high = math.radians(first_latitude), math.radians(second_latitude)
    across = math.radians(second_longitude - first_longitude)
    square = math.sin((high - low) / 2) ** 2 + math.cos(low) * math.cos(high) * math.sin(across / 2) ** 2
    # Rounding can lift the square just above 1 at antipodes, where asin is undefined.
    return 2.0 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(square, 1.0)))


def projected_km(degrees: Floats) -> Floats:
    """Longitude and latitude [N, 2] to x and y in km [N, 2], equirectangular about their mean.

    True in length along parallels of the mean latitude and all meridians.
    """
    angles = np.radians(degrees[:, 0])
    # A circular mean: an arithmetic one fails for networks on both sides of the date line.
    middle = math.degrees(math.atan2(float(np.sin(angles).mean()), float(np.cos(angles).mean())))
    east = np.radians((degrees[:, 0] - middle + 180.0) % 360.0 - 180.0)
    latitude = np.radians(degrees[:, 1])
    mean = float(latitude.mean())
    return EARTH_RADIUS_KM * np.stack([east * math.cos(mean), latitude - mean], axis=1)


def distance_km(first: tuple[float, float], second: tuple[float, float], unit: PositionUnit) -> float:
    """Distance in km between two positions: longitude and latitude in degrees, or x and y in km."""
    return great_circle_km(*first, *second) if unit is PositionUnit.DEGREES else math.dist(first, second)
