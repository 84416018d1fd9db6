"""The trace that a call to the broker belongs to, where OpenTelemetry is installed."""

from __future__ import annotations

Metadata = tuple[tuple[str, str], ...]

try:
    from opentelemetry.propagate import inject
except ImportError:

    def trace_metadata() -> Metadata:
        """Return no metadata: there is no OpenTelemetry."""
        return ()

else:

    def trace_metadata() -> Metadata:
        """Return the metadata that carries the present context, e.g. ``traceparent``.

        An interceptor of OpenTelemetry, if the application has one, replaces it by its own.
        """
        carrier: dict[str, str] = {}
        inject(carrier)
        return tuple((key.lower(), value) for key, value in carrier.items())
