"""Read a larderd's store from Python: its images as a dataset, its figures as dictionaries.

    import larder
    store = larder.Store()                      # the socket of the system's daemon, or $LARDER_SOCKET
    for image in store.images(label="fox"):
        print(image["id"], image["quality"])
    train = larder.Dataset(store, "training")   # (PIL image, class) pairs; a torch DataLoader takes it
    print(train.classes, len(train))

Everything comes through the daemon's socket, so nothing here can change or lock the store, and pictures come as JPEG files
whatever the store keeps them as. Needs the standard library; Pillow where pictures are decoded.
"""
import base64
import io
import json
import os
import socket
import threading

__all__ = ["Store", "Dataset", "LarderError"]

SOCKET = "/run/larder/control.sock"
INTERFACE = "io.larder.Control."


class LarderError(Exception):
    """The daemon refused a call, or does not answer; .error is its name of the refusal."""

    def __init__(self, text, error=None):
        super().__init__(text)
        self.error = error


class Store:
    """One daemon's store. Connects when it is first asked; each process and thread has a connection of its own."""

    def __init__(self, path=None, timeout=60):
        self.path = path or os.environ.get("LARDER_SOCKET") or SOCKET
        self.timeout = timeout
        self._mine = threading.local()

    def __getstate__(self):
        return {"path": self.path, "timeout": self.timeout}

    def __setstate__(self, state):
        self.__init__(**state)

    def close(self):
        """Ends this thread's connection; the next call makes a new one."""
        link = getattr(self._mine, "link", None)
        if link:
            link.close()
            self._mine.link = None

    def _connection(self):
        if getattr(self._mine, "pid", None) != os.getpid():  # after a fork the parent's is not ours
            self._mine.link = None
        if getattr(self._mine, "link", None) is None:
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(self.timeout)
            try:
                link.connect(self.path)
            except OSError as e:
                link.close()
                raise LarderError(f"cannot reach larderd at {self.path}: {e.strerror or e}") from e
            self._mine.link, self._mine.pid = link, os.getpid()
        return self._mine.link

    def call(self, method, **parameters):
        """One call of io.larder.Control; returns its parameters."""
        message = {"method": INTERFACE + method, "parameters": {k: v for k, v in parameters.items() if v is not None}}
        link = self._connection()
        parts = []
        try:
            link.sendall(json.dumps(message).encode() + b"\0")
            while not parts or not parts[-1].endswith(b"\0"):
                parts.append(link.recv(1 << 20))
                if not parts[-1]:
                    raise LarderError("larderd ended the connection")
        except (OSError, LarderError) as e:
            self.close()
            raise e if isinstance(e, LarderError) else LarderError(f"larderd does not answer: {e}") from e
        reply = json.loads(b"".join(parts)[:-1])
        if "error" in reply:
            detail = reply.get("parameters", {})
            raise LarderError(detail.get("reason") or f"{reply['error']} {detail}", reply["error"])
        return reply["parameters"]

    def status(self):
        """What larderctl --json status prints."""
        return self.call("Status")["status"]

    def images(self, label=None, quality=None):
        """Every image, as a dictionary, by id. label "": those without one."""
        after = None
        while True:
            page = self.call("List", label=label, quality=quality, after=after, limit=1000)
            yield from page["images"]
            after = page.get("next")
            if not after:
                return

    def show(self, image_id):
        """One image with its curve and the reason for its quality."""
        return self.call("Show", id=image_id)["image"]

    def _parts(self, method, **parameters):
        data, size, version = b"", 1, None
        while len(data) < size:
            part = self.call(method, offset=len(data), **parameters)
            if data and part.get("version") != version:
                raise LarderError("it has changed meanwhile; ask again")
            version, size = part.get("version"), part["size"]
            more = base64.b64decode(part["data"], validate=True)
            if not more:
                raise LarderError("larderd's answer is not understood")
            data += more
        return data

    def file(self, image_id):
        """The picture's bytes: a JPEG, or the capture's own format where captures are kept as they came."""
        return self._parts("File", id=image_id)

    def picture(self, image_id):
        """The picture as a Pillow image in RGB, turned the right way up."""
        from PIL import Image, ImageOps
        return ImageOps.exif_transpose(Image.open(io.BytesIO(self.file(image_id)))).convert("RGB")

    def model(self, form="onnx"):
        """The current model's file: "onnx" or "safetensors"."""
        return self._parts("Model", format=form)


class Dataset:
    """The labelled images of one part, "training" or "validation" (None: both), as they are when it is made.

    An item is (picture, class): the Pillow image, or what transform makes of it, and the label's place in classes. With
    decode=False the picture is the file's bytes. An image that the store has dropped since raises KeyError, which is how a
    store under a budget is; missing="next" gives the next one that is there instead.
    """

    def __init__(self, store, part="training", transform=None, classes=None, decode=True, missing="error"):
        if part not in ("training", "validation", None):
            raise ValueError(f"part {part!r}: training, validation or None is expected")
        if missing not in ("error", "next"):
            raise ValueError(f"missing {missing!r}: error or next is expected")
        self.store, self.transform, self.decode, self.missing = store, transform, decode, missing
        wanted = [i for i in store.images() if i["label"] is not None and
                  (part is None or i["validation"] == (part == "validation"))]
        self.classes = list(classes) if classes is not None else sorted({i["label"] for i in wanted})
        number = {name: k for k, name in enumerate(self.classes)}
        self.images = [i for i in wanted if i["label"] in number]
        self.targets = [number[i["label"]] for i in self.images]

    def __len__(self):
        return len(self.images)

    def _fetch(self, index):
        image = self.images[index]
        try:
            return self.store.picture(image["id"]) if self.decode else self.store.file(image["id"])
        except LarderError as e:
            if e.error == INTERFACE + "NoSuchImage":
                raise KeyError(image["id"]) from e
            raise

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        for step in range(len(self)):
            at = (index + step) % len(self)
            try:
                picture = self._fetch(at)
            except KeyError:
                if self.missing == "error":
                    raise
                continue
            return (self.transform(picture) if self.transform else picture), self.targets[at]
        raise KeyError("none of the images is there any more")
