// The thin binding: checks arrays, releases the GIL, calls the core. No arithmetic on pixels here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "preprocess.hpp"

namespace py = pybind11;
using namespace edgecnn;

namespace {

template <size_t N>
int index_of(const char* what, const std::string& value, const char* const (&names)[N]) {
    for (size_t i = 0; i < N; ++i) {
        if (value == names[i]) return static_cast<int>(i);
    }
    std::string known;
    for (const char* n : names) known += (known.empty() ? "" : ", ") + std::string(n);
    throw std::invalid_argument(std::string(what) + " must be one of " + known + "; got '" + value + "'");
}

const char* const kResizes[] = {"tf_nearest",  "tf_bilinear",  "tf_bilinear_antialias",
                                "tf_area",     "tf_bicubic",   "pil_nearest",
                                "pil_box",     "pil_bilinear", "pil_hamming",
                                "pil_bicubic", "pil_lanczos",  "cv2_nearest",
                                "cv2_linear",  "cv2_area",     "cv2_cubic"};
const char* const kFits[] = {"stretch", "crop", "pad"};
const char* const kColors[] = {"rgb", "bgr", "gray"};
const char* const kLayouts[] = {"nhwc", "nchw"};
const char* const kDTypes[] = {"float32", "uint8"};
const char* const kFormats[] = {"rgb", "bgr", "rgba", "bgra", "gray", "yuyv", "uyvy", "nv12", "nv21", "i420"};

// spec: an edgecnn.spec.PixelSpec, which has checked its own fields.
Recipe read_recipe(const py::object& spec) {
    const auto text = [&spec](const char* name) { return spec.attr(name).cast<std::string>(); };
    const auto number = [&spec](const char* name) {
        return static_cast<float>(spec.attr(name).cast<double>());
    };
    Recipe r;
    r.height = spec.attr("height").cast<int>();
    r.width = spec.attr("width").cast<int>();
    r.resize = static_cast<Resize>(index_of("resize", text("resize"), kResizes));
    r.fit = static_cast<Fit>(index_of("fit", text("fit"), kFits));
    r.color = static_cast<Color>(index_of("color", text("color"), kColors));
    r.layout = static_cast<Layout>(index_of("layout", text("layout"), kLayouts));
    r.dtype = static_cast<DType>(index_of("dtype", text("dtype"), kDTypes));
    r.pillow = spec.attr("pillow").cast<int>();
    r.pad_value = spec.attr("pad_value").cast<uint8_t>();
    r.scale = number("scale");
    r.offset = number("offset");
    r.has_divisor = !spec.attr("divisor").is_none();
    if (r.has_divisor) r.divisor = number("divisor");
    r.has_mean = !spec.attr("mean").is_none();
    if (r.has_mean) {
        const auto mean = spec.attr("mean").cast<py::tuple>(), std = spec.attr("std").cast<py::tuple>();
        for (int c = 0; c < channels_of(r.color); ++c) {
            r.mean[c] = static_cast<float>(mean[c].cast<double>());
            r.std[c] = static_cast<float>(std[c].cast<double>());
        }
    }
    return r;
}

// roi: (x, y, width, height) in pixels, or None for all of the image.
Source::Region read_region(const py::object& roi) {
    if (roi.is_none()) return {0, 0, 0, 0};
    int side[4];
    try {
        const auto tuple = roi.cast<py::tuple>();
        if (tuple.size() != 4) throw py::cast_error();
        for (int i = 0; i < 4; ++i) side[i] = tuple[i].cast<int>();
    } catch (const py::cast_error&) {
        throw std::invalid_argument("roi must be four whole numbers (x, y, width, height), got " +
                                    py::str(py::repr(roi)).cast<std::string>());
    }
    if (side[2] < 1 || side[3] < 1) {
        throw std::invalid_argument("roi must be at least one pixel wide and high, got " +
                                    py::str(py::repr(roi)).cast<std::string>());
    }
    return {side[0], side[1], side[2], side[3]};
}

// Grows to the largest plan that its thread has run, then stays.
struct Scratch {
    void* memory = nullptr;
    size_t size = 0;

    ~Scratch() { std::free(memory); }
    void* get(size_t bytes) {
        if (bytes > size) {
            std::free(memory);
            size = 0;
            memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
            if (memory == nullptr) throw std::bad_alloc();
            size = bytes;
        }
        return memory;
    }
};

std::string shape_of(const py::array& a) {
    std::string text = "(";
    for (py::ssize_t i = 0; i < a.ndim(); ++i) text += (i ? ", " : "") + std::to_string(a.shape(i));
    return text + (a.ndim() == 1 ? ",)" : ")");
}

std::string shape_of(const py::tuple& t) {
    return py::str(static_cast<const py::object&>(t)).cast<std::string>();
}

// Whether the items are T in this machine's byte order; much cheaper than array_t's check.
template <typename T>
bool holds(const py::array& a) {
    const py::dtype d = a.dtype();
    const char order = d.byteorder();
    return d.num() == py::dtype::num_of<T>() && (order == '=' || order == '|');
}

struct Extent {
    const char *low, *high;  // first byte and one past the last
};

Extent extent_of(const py::array& a) {
    const char* low = static_cast<const char*>(a.data());
    const char* high = low + a.itemsize();
    for (py::ssize_t i = 0; i < a.ndim(); ++i) {
        const py::ssize_t reach = (a.shape(i) - 1) * a.strides(i);
        (reach < 0 ? low : high) += reach;
    }
    return {low, high};
}

class PyPlan {
  public:
    PyPlan(const py::object& spec, py::ssize_t height, py::ssize_t width, const std::string& color,
           const py::object& roi)
        : format_(static_cast<Format>(index_of("color", color, kFormats))),
          color_(color),
          shape_(spec.attr("shape").cast<std::vector<py::ssize_t>>()),
          plan_(Source{side("height", height), side("width", width), format_, read_region(roi)},
                read_recipe(spec)) {}

    // Fails with std::invalid_argument before a byte of out is touched.
    void run(const py::array& image, const py::array& out, int threads) const {
        if (threads < 1)
            throw std::invalid_argument("threads must be 1 or more, got " + std::to_string(threads));
        check_image(image);
        check_out(out);
        check_apart(image, out);
        run_checked({{plane_of(image), {}, {}}}, out, threads);
    }

    // The same for a frame whose planes are arrays of their own.
    void run_planes(const py::tuple& planes, const py::array& out, int threads) const {
        if (threads < 1)
            throw std::invalid_argument("threads must be 1 or more, got " + std::to_string(threads));
        const size_t count = planes_of(format_);
        if (count == 1)
            throw std::invalid_argument("color='" + color_ + "' takes one array, not a tuple of planes");
        if (planes.size() != count) {
            throw std::invalid_argument("image must be one array or " + std::to_string(count) +
                                        " planes for color='" + color_ + "', got " +
                                        std::to_string(planes.size()));
        }
        check_out(out);
        Pixels pixels{};
        for (size_t i = 0; i < count; ++i) {
            if (!py::isinstance<py::array>(planes[i])) {
                throw std::invalid_argument("plane " + std::to_string(i) +
                                            " must be a uint8 numpy array, got " +
                                            Py_TYPE(planes[i].ptr())->tp_name);
            }
            const auto plane = py::reinterpret_borrow<py::array>(planes[i]);
            check_plane(static_cast<int>(i), plane);
            check_apart(plane, out);
            pixels.plane[i] = plane_of(plane);
        }
        run_checked(pixels, out, threads);
    }

    py::array empty() const {
        const bool bytes = plan_.recipe().dtype == DType::uint8;
        return py::array(bytes ? py::dtype::of<uint8_t>() : py::dtype::of<float>(), shape_);
    }

  private:
    // An array can claim sides that no int holds.
    static int side(const char* what, py::ssize_t value) {
        if (value <= kMaxSourceSide) return static_cast<int>(value);
        throw std::invalid_argument(std::string("source ") + what + " must be 1 to " +
                                    std::to_string(kMaxSourceSide) + " pixels, got " + std::to_string(value));
    }

    void run_checked(const Pixels& pixels, const py::array& out, int threads) const {
        void* target = const_cast<void*>(out.data());
        py::gil_scoped_release release;
        thread_local Scratch scratch;
        threads = plan_.threads(threads);
        void* const memory = scratch.get(threads * plan_.scratch_bytes());
        if (threads == 1) return plan_.run(pixels, target, memory);
        thread_local Crew crew;
        plan_.run(pixels, target, memory, threads, crew);
    }

    static Pixels::Plane plane_of(const py::array& a) {
        return {static_cast<const uint8_t*>(a.data()), a.strides(0)};
    }

    static void check_type(const std::string& what, const py::array& a) {
        if (holds<uint8_t>(a)) return;
        throw std::invalid_argument(what + " must be uint8 (0 to 255), got " +
                                    py::str(a.dtype()).cast<std::string>());
    }

    // An axis of length 1 has no step; numpy may report any stride for it.
    static void check_packed(const std::string& what, const py::array& a) {
        py::ssize_t step = 1;
        for (py::ssize_t i = a.ndim() - 1; i > 0; step *= a.shape(i--)) {
            if (a.shape(i) == 1 || a.strides(i) == step) continue;
            throw std::invalid_argument(
                what +
                " rows must be contiguous: pass numpy.ascontiguousarray(image) for a mirrored, transposed or "
                "channel-reversed view (a channel order is better given as color=)");
        }
    }

    void check_image(const py::array& image) const {
        const Source& s = plan_.source();
        const py::ssize_t channels = channels_of(format_);
        check_type("image", image);
        const bool planar = is_planar(format_);
        const int rows = planar ? s.height / 2 * 3 : s.height;
        const bool flat = image.ndim() == 2 && channels == 1;
        if (!(flat || (image.ndim() == 3 && !planar)) || image.shape(0) != rows ||
            image.shape(1) != s.width || (!flat && image.shape(2) != channels)) {
            throw std::invalid_argument("image must be (" + std::to_string(rows) + ", " +
                                        std::to_string(s.width) +
                                        (planar ? "" : ", " + std::to_string(channels)) + ") for color='" +
                                        color_ + "', got " + shape_of(image));
        }
        check_packed("image", image);
    }

    void check_plane(int i, const py::array& plane) const {
        const Source& s = plan_.source();
        const std::string what = "plane " + std::to_string(i);
        check_type(what, plane);
        const bool pairs = i == 1 && format_ != Format::i420;
        const py::ssize_t height = i == 0 ? s.height : s.height / 2,
                          width = i == 0 || pairs ? s.width : s.width / 2;
        const bool flat = plane.ndim() == 2 && plane.shape(1) == width;
        const bool paired = pairs && plane.ndim() == 3 && plane.shape(1) == width / 2 && plane.shape(2) == 2;
        if (!(flat || paired) || plane.shape(0) != height) {
            const std::string rows = "(" + std::to_string(height) + ", ";
            throw std::invalid_argument(what + " must be " + rows + std::to_string(width) + ")" +
                                        (pairs ? " or " + rows + std::to_string(width / 2) + ", 2)" : "") +
                                        " for color='" + color_ + "' of " + std::to_string(s.width) + "x" +
                                        std::to_string(s.height) + ", got " + shape_of(plane));
        }
        check_packed(what, plane);
    }

    void check_out(const py::array& out) const {
        const bool bytes = plan_.recipe().dtype == DType::uint8;
        if (!(bytes ? holds<uint8_t>(out) : holds<float>(out))) {
            throw std::invalid_argument(std::string("out must be ") + (bytes ? "uint8" : "float32") +
                                        ", got " + py::str(out.dtype()).cast<std::string>());
        }
        if (!std::equal(shape_.begin(), shape_.end(), out.shape(), out.shape() + out.ndim())) {
            throw std::invalid_argument("out must be " + shape_of(py::tuple(py::cast(shape_))) + ", got " +
                                        shape_of(out));
        }
        if (!out.writeable()) throw std::invalid_argument("out must be writable, got a read-only array");
        if (!(out.flags() & py::array::c_style)) {
            throw std::invalid_argument(
                "out must be C-contiguous; a slice batch[i] of a contiguous batch is");
        }
        if (reinterpret_cast<uintptr_t>(out.data()) % static_cast<uintptr_t>(out.itemsize()) != 0) {
            throw std::invalid_argument("out must be aligned to its item size");
        }
    }

    static void check_apart(const py::array& image, const py::array& out) {
        const Extent a = extent_of(image), b = extent_of(out);
        if (a.low < b.high && b.low < a.high) throw std::invalid_argument("out must not overlap image");
    }

    Format format_;
    std::string color_;
    std::vector<py::ssize_t> shape_;
    Plan plan_;
};

}  // namespace

PYBIND11_MODULE(_core, m) {
    m.doc() = "The C++ core of edgecnn: see edgecnn.preprocess.";
    m.attr("__version__") = EDGECNN_VERSION;
    // Every complaint of the core is about an image, its out= or its recipe.
    py::register_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (const std::invalid_argument& e) {
            const py::object error = py::module_::import("edgecnn.errors").attr("ImageError");
            PyErr_SetString(error.ptr(), e.what());
        }
    });
    py::class_<PyPlan>(m, "Plan")
        .def(py::init<const py::object&, py::ssize_t, py::ssize_t, const std::string&, const py::object&>(),
             py::arg("spec"), py::arg("height"), py::arg("width"), py::arg("color"),
             py::arg("roi") = py::none())
        .def("run", &PyPlan::run, py::arg("image"), py::arg("out"), py::arg("threads") = 1)
        .def("run_planes", &PyPlan::run_planes, py::arg("planes"), py::arg("out"), py::arg("threads") = 1)
        .def("empty", &PyPlan::empty);
    m.def("isa", [] { return std::string(isa()); });
    m.def("available_isas", [] {
        py::list names;
        for (const char* const* n = available_isas(); *n != nullptr; ++n) names.append(*n);
        return py::tuple(names);
    });
}
