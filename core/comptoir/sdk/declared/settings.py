"""`[settings]` of a description: what `[connections.NAME]` may say about one connection."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    create_model,
    model_validator,
)

from comptoir.sdk.protocols import ConnectorConfig

__all__ = ["Setting", "SettingsTable"]

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]*$", max_length=40)]
_TYPES: dict[str, Any] = {
    "text": Annotated[str, StringConstraints(min_length=1, max_length=1000)],
    "integer": StrictInt,
    "boolean": StrictBool,
}


class Setting(BaseModel):
    """One setting. Without a default it must be written for each connection."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    type: Literal["text", "integer", "boolean"] = "text"
    default: StrictBool | StrictInt | str | None = None
    allowed: tuple[str, ...] = ()
    description: str = ""

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        kind = {"text": str, "integer": int, "boolean": bool}[self.type]
        if self.default is not None and type(self.default) is not kind:
            raise ValueError(f"the default {self.default!r} is no {self.type}")
        if self.allowed and self.type != "text":
            raise ValueError('`allowed` belongs to type = "text"')
        if self.allowed and self.default is not None and self.default not in self.allowed:
            raise ValueError(f"the default {self.default!r} is not among those allowed: {', '.join(self.allowed)}")
        return self


class SettingsTable(BaseModel):
    """The settings by name; a mapping asks for one by `context: config.NAME`."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    settings: dict[_Name, Setting] = Field(default_factory=dict)

    def config_model(self, key: str, base: type[ConnectorConfig] = ConnectorConfig) -> type[ConnectorConfig]:
        """The settings of `base` and these, as the model that checks `[connections.NAME]`."""
        fields: dict[str, Any] = {}
        for name, setting in self.settings.items():
            kind = Literal[setting.allowed] if setting.allowed else _TYPES[setting.type]
            default = ... if setting.default is None else setting.default
            fields[name] = (kind, Field(default, description=setting.description or None))
        model: type[ConnectorConfig] = create_model(f"{key.title().replace('_', '')}Config", __base__=base, **fields)
        return model
