"""`InferModel` and its streams, before anything is configured (docs/hailort.md §2.2)."""

from typing import TYPE_CHECKING

from hailo_sim import status as codes
from hailo_sim.api_hef import HEF, Format, QuantInfo, format_of, quant_of
from hailo_sim.api_infer import Configured, ConfiguredInferModel
from hailo_sim.device import MAX_BATCH
from hailo_sim.enums import FormatOrder, FormatType, PowerMode
from hailo_sim.errors import translated
from hailo_sim.formats import UserStream
from hailo_sim.hef_file import Group, HefFile, Stream
from hailo_sim.pipeline import Pipeline
from hailo_sim.status import fail

if TYPE_CHECKING:
    from hailo_sim.api_vdevice import Handle

RUNS_ON = {"hailo8": (1, 2, 3), "hailo8l": (3,)}
QUEUE_BYTES = 32 << 20


class ModelStream:
    """`InferModel.InferStream`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._type = int(format_of(stream).type)
        self._order = format_of(stream).order
        self._nms = False

    @property
    def name(self) -> str:
        return self._stream.name

    @property
    def shape(self) -> list[int]:
        """A list here; `NC` gives its features alone."""
        return list(self._stream.host_shape)

    @property
    def format(self) -> Format:
        """The file's flags are taken over as the caller's wish, so a transposed stream stays so (hailort.md §4.2)."""
        return Format(FormatType(self._type), self._order, format_of(self._stream).flags)

    def set_format_type(self, type: FormatType) -> None:
        if not isinstance(type, FormatType):
            raise TypeError("set_format_type(): incompatible function arguments")
        self._type = int(type) or int(format_of(self._stream).type)

    def set_format_order(self, order: FormatOrder) -> None:
        if not isinstance(order, FormatOrder):
            raise TypeError("set_format_order(): incompatible function arguments")
        self._order = order

    @property
    def quant_infos(self) -> list[QuantInfo]:
        """Exactly one, also for a file with one pair a feature (§4.1)."""
        return [quant_of(self._stream)]

    @property
    def is_nms(self) -> bool:
        return False

    def set_nms_score_threshold(self, threshold: float) -> None:
        """No stream here has NMS: this one and its like are taken, and configure() fails (docs/hailort.md §9.1)."""
        self._nms = True

    def set_nms_iou_threshold(self, threshold: float) -> None:
        self._nms = True

    def set_nms_max_proposals_per_class(self, max_proposals: int) -> None:
        self._nms = True

    def set_nms_max_accumulated_mask_size(self, max_accumulated_mask_size: int) -> None:
        self._nms = True

    def user(self) -> UserStream:
        """As it is fixed at configure()."""
        if self._nms:
            fail(codes.INVALID_OPERATION)
        return UserStream(self._stream, self._type)


class InferModel:
    """A file on an open device, not configured."""

    InferStream = ModelStream

    def __init__(self, handle: "Handle", hef: HefFile, source: str | bytes, name: str) -> None:
        self._handle = handle
        self._file = hef
        self._source = source
        self._name = name
        self._hef: HEF | None = None
        self._batch_size = 0
        self._power_mode = int(PowerMode(0))
        group = self._default_group()
        self._inputs = {s.name: ModelStream(s) for s in group.inputs}
        self._outputs = {s.name: ModelStream(s) for s in group.outputs}

    @property
    def hef(self) -> HEF:
        """Opened when it is asked for."""
        if self._hef is None:
            self._hef = HEF(self._source)
        return self._hef

    def set_batch_size(self, batch_size: int) -> None:
        if not 0 <= batch_size <= 0xFFFF:
            raise TypeError("set_batch_size(): incompatible function arguments")
        self._batch_size = batch_size

    def set_power_mode(self, power_mode: PowerMode) -> None:
        self._power_mode = int(power_mode)

    @property
    def input_names(self) -> list[str]:
        return list(self._inputs)

    @property
    def output_names(self) -> list[str]:
        return list(self._outputs)

    @property
    def inputs(self) -> list[ModelStream]:
        return list(self._inputs.values())

    @property
    def outputs(self) -> list[ModelStream]:
        return list(self._outputs.values())

    def input(self, name: str = "") -> ModelStream:
        return _pick(name, self._inputs)

    def output(self, name: str = "") -> ModelStream:
        return _pick(name, self._outputs)

    def configure(self) -> ConfiguredInferModel:
        """Loads the model into the device; the GIL is held all the while."""
        rig = self._handle.rig
        if self._handle.released:
            rig.crash("InferModel.configure() after its VDevice was released: use after free")
        rig.hold_gil("configure")
        self._handle.device.may_configure()
        with translated(), rig.lock:
            return ConfiguredInferModel(Configured(self._pipeline()), self)

    def _pipeline(self) -> Pipeline:
        device = self._handle.device
        rig = device.rig
        group = self._group()
        if rig.faults.unplugged:
            fail(codes.DRIVER_OPERATION_FAILED)
        if status := rig.faults.configure_status(group.name):
            fail(status)
        if device.overheated:
            fail(codes.INTERNAL_FAILURE)
        if self._batch_size > MAX_BATCH:
            rig.record.say(f"Given batch size {self._batch_size} is bigger than max allowed ({MAX_BATCH})")
            fail(codes.INVALID_ARGUMENT)
        self._check_chip()
        inputs = [stream.user() for stream in self.inputs]
        outputs = [stream.user() for stream in self.outputs]
        for stream in (*inputs, *outputs):
            stream.check()
        queue = min(queue_size(s.stream.frame_bytes, self._batch_size, rig.queue_scale) for s in (*inputs, *outputs))
        core_op = device.core_op(self._file, group, self._batch_size, self._power_mode, queue)
        pipeline = Pipeline(device, core_op, inputs, outputs)
        device.pipelines.add(pipeline)
        rig.record.models[group.name].configured += 1
        return pipeline

    def _check_chip(self) -> None:
        rig = self._handle.rig
        architecture = self._file.architecture
        if architecture not in RUNS_ON[rig.chip]:
            rig.record.say(f"HEF format is not compatible with device. HEF arch: {architecture}")
            fail(codes.HEF_NOT_COMPATIBLE)
        if rig.chip == "hailo8" and architecture == 3:
            rig.record.say("HEF was compiled for Hailo8L device, while the device itself is Hailo8.")

    def _group(self) -> Group:
        if len(self._file.groups) > 1 and not self._name:
            fail(codes.INVALID_ARGUMENT)
        return self._default_group()

    def _default_group(self) -> Group:
        groups = [g for g in self._file.groups if self._name in ("", g.name)]
        return groups[0] if groups else fail(codes.NOT_FOUND)


def queue_size(frame_bytes: int, batch: int, scale: int) -> int:
    """docs/hailort.md §2.3: `clamp(32 MiB / frame_bytes, 2 B, max(2 B, S))`."""
    least = 2 * (batch or 1)
    return min(max(QUEUE_BYTES // frame_bytes, least), max(least, scale))


def _pick(name: str, streams: dict[str, ModelStream]) -> ModelStream:
    with translated():
        if not name and len(streams) != 1:
            fail(codes.INVALID_OPERATION)
        return streams.get(name or next(iter(streams))) or fail(codes.NOT_FOUND)
