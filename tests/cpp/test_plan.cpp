// What a Plan says about itself, and which sizes it refuses.
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "preprocess.hpp"

using namespace edgecnn;

namespace {

Recipe recipe(int height, int width, Resize resize = Resize::tf_bilinear, Fit fit = Fit::stretch) {
    Recipe r;
    r.height = height;
    r.width = width;
    r.resize = resize;
    r.fit = fit;
    return r;
}

void sizes() {
    CHECK(Plan(Source{9, 7, Format::rgb}, recipe(5, 4)).output_bytes() == 5 * 4 * 3 * 4);
    Recipe gray = recipe(5, 4);
    gray.color = Color::gray;
    gray.dtype = DType::uint8;
    CHECK(Plan(Source{9, 7, Format::bgra}, gray).output_bytes() == 5 * 4);
    const Plan plan(Source{9, 7, Format::bgra}, gray);
    CHECK(plan.source().height == 9 && plan.source().width == 7);
    CHECK(plan.recipe().height == 5 && plan.recipe().width == 4);
    CHECK(plan.scratch_bytes() % 64 == 0);
}

void refusals() {
    CHECK_THROWS(Plan(Source{0, 7, Format::rgb}, recipe(5, 4)));
    CHECK_THROWS(Plan(Source{7, -1, Format::rgb}, recipe(5, 4)));
    CHECK_THROWS(Plan(Source{7, kMaxSourceSide + 1, Format::rgb}, recipe(5, 4)));
    CHECK_THROWS(Plan(Source{7, 7, Format::rgb}, recipe(0, 4)));
    Recipe pillow = recipe(5, 4);
    pillow.pillow = 11;
    CHECK_THROWS(Plan(Source{7, 7, Format::rgb}, pillow));
    CHECK_THROWS(Plan(Source{4, 7, Format::yuyv}, recipe(5, 4)));
    CHECK_THROWS(Plan(Source{7, 4, Format::nv12}, recipe(5, 4)));
    CHECK_THROWS(Plan(Source{7, 7, Format::rgb, {-1, 0, 2, 2}}, recipe(5, 4)));
    CHECK_THROWS(Plan(Source{7, 7, Format::rgb, {6, 0, 2, 2}}, recipe(5, 4)));
    CHECK_THROWS(Plan(Source{7, 7, Format::rgb, {0, 6, 2, 2147483647}}, recipe(5, 4)));
    CHECK_THROWS(Plan(Source{7, 7, Format::rgb}, recipe(4, kMaxTensorSide + 1)));
    CHECK_THROWS(Plan(Source{1, 900, Format::rgb}, recipe(8, 8, Resize::pil_box, Fit::pad)));
    CHECK_THROWS(Plan(Source{1, 900, Format::rgb}, recipe(800, 8, Resize::tf_area, Fit::pad)));
}

void names() {
    CHECK(channels_of(Format::rgb) == 3 && channels_of(Format::bgra) == 4 && channels_of(Format::gray) == 1);
    CHECK(library_of(Resize::tf_bicubic) == Library::tf);
    CHECK(library_of(Resize::pil_nearest) == Library::pil && library_of(Resize::pil_lanczos) == Library::pil);
    CHECK(library_of(Resize::cv2_nearest) == Library::cv2);
    CHECK(std::string(available_isas()[0]) == "scalar");
}

}  // namespace

int main() {
    sizes();
    refusals();
    names();
    return check_result();
}
