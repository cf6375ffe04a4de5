"""What tells the series of a chart apart, from its Vega-Lite JSON."""


def plots(view, shared=None):
    """The plots of a chart, each as the list of its layers, which have what their plot gives to all."""
    shared = {**(shared or {}), **view.get("encoding", {})}
    for part in [*view.get("hconcat", ()), *view.get("vconcat", ()), *([view["spec"]] if "spec" in view else [])]:
        yield from plots(part, shared)
    if "layer" in view:
        yield [layer for part in view["layer"] for layers in plots(part, shared) for layer in layers]
    elif "mark" in view:
        mark = view["mark"] if isinstance(view["mark"], dict) else {"type": view["mark"]}
        yield [{"mark": mark, "encoding": shared}]


def tells(layer, field):
    """Whether a layer tells the names of a field without colour: by marker, dash, fill, place or text."""
    mark, encoding = layer["mark"], layer["encoding"]
    drawn = {
        "shape": mark["type"] == "point" or mark.get("point"),
        "strokeDash": mark["type"] in ("line", "rule"),
        "fill": mark["type"] == "bar",
        **dict.fromkeys(("x", "y", "text", "row", "column"), True),
    }
    found = [encoding[name] for name, is_drawn in drawn.items() if is_drawn and encoding.get(name, {}).get("field") == field]
    ranges = [channel["scale"]["range"] for channel in found if "range" in channel.get("scale", {})]
    return bool(found) and all(len({str(value) for value in values}) == len(values) for values in ranges)


def untold(spec):
    """The fields of a chart whose names nothing but colour tells, and the colours of all series."""
    fields, colors = [], []
    for layers in plots(spec):
        for layer in layers:
            color = layer["encoding"].get("color", {})
            if color.get("type") == "nominal" and len(color["scale"]["domain"]) > 1:
                colors.append(color["scale"]["range"])
                if not any(tells(other, color["field"]) for other in layers):
                    fields.append(color["field"])
    return fields, colors


def has_bars(spec):
    layers = [layer for layers in plots(spec) for layer in layers]
    return any(layer["mark"]["type"] == "rule" and {"x2", "y2"} & layer["encoding"].keys() for layer in layers)
