"""Any adaptive solver of diffrax, with located events."""

from ._runge_kutta import RungeKutta as RungeKutta
