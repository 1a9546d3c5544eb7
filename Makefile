# demo and test work from a fresh clone on Debian with python3 (3.10 to 3.13), a C++ compiler and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
AARCH64 := $(shell command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64 >/dev/null && echo test-aarch64)

.PHONY: demo test test-python test-cpp test-aarch64 sanitize fuzz lint format bench bench-peers feed memory digits clean

demo: $(VENV)/demo
	PATH="$(abspath $(BIN)):$$PATH" docs/demo.sh

test: lint test-cpp $(AARCH64) test-python

test-python: $(VENV)/all
	$(BIN)/python -m pytest

# The C++ tests, with the address and the undefined-behaviour sanitizer: they cost little here.
test-cpp: $(VENV)/all
	$(CPP_TESTS)/address $(CMAKE_TESTS) -DEDGECNN_SANITIZE=address,undefined
	$(BIN)/cmake --build build/address
	$(BIN)/ctest --test-dir build/address --output-on-failure

# The same on aarch64 (NEON), by a cross compiler and an emulator; part of `make test` where both are there.
test-aarch64: $(VENV)/all
	@test -n "$(AARCH64)" || { echo "$@ needs: apt-get install g++-aarch64-linux-gnu qemu-user" >&2; exit 1; }
	$(CPP_TESTS)/aarch64 $(CMAKE_TESTS) -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
		-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
		'-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu'
	$(BIN)/cmake --build build/aarch64
	$(BIN)/ctest --test-dir build/aarch64 --output-on-failure --parallel 2

# The same under the thread sanitizer: many threads on one Plan.
sanitize: test-cpp
	$(CPP_TESTS)/thread $(CMAKE_TESTS) -DEDGECNN_SANITIZE=thread
	$(BIN)/cmake --build build/thread
	$(BIN)/ctest --test-dir build/thread --output-on-failure

# Ten minutes of libFuzzer on sizes, strides, planes, formats and recipes, on every instruction set against the scalar
# kernels; ten on image files. Needs clang++ (apt-get install clang), and Python 3.11 or later on x86-64.
fuzz: $(VENV)/all
	$(CPP_TESTS)/fuzz $(CMAKE_TESTS) -DEDGECNN_SANITIZE=address,undefined \
		-DCMAKE_CXX_COMPILER=clang++ -DEDGECNN_BUILD_FUZZ=ON
	$(BIN)/cmake --build build/fuzz
	mkdir -p build/fuzz/run build/fuzz/decode
	build/fuzz/tests/cpp/fuzz_run build/fuzz/run -max_total_time=$(FUZZ_SECONDS) -len_control=0 -max_len=300
	$(BIN)/python -m pip install --quiet '.[fuzz]'
	$(BIN)/python tests/fuzz_decode.py build/fuzz/decode -max_total_time=$(FUZZ_SECONDS) -max_len=30000 -timeout=20 -rss_limit_mb=2048

CPP_TESTS := $(BIN)/cmake -S . -B build
CMAKE_TESTS = -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DEDGECNN_BUILD_TESTS=ON
FUZZ_SECONDS ?= 600

lint: $(VENV)/all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.hpp')
	cd $(VENV) && bin/python -m mypy --config-file ../pyproject.toml

format: $(VENV)/all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.hpp')

bench: $(VENV)/all
	$(BIN)/python bench/run.py

# The peers that can't live beside the others: pillow-simd replaces Pillow (its build needs libjpeg62-turbo-dev and
# zlib1g-dev), torchvision brings 5 GB of PyTorch. Each is used by make bench where it is there.
bench-peers:
	for peer in pillow-simd torchvision; do \
		$(PYTHON) -m venv build/peers/$$peer && \
		CC="cc -mavx2" build/peers/$$peer/bin/python -m pip install --quiet numpy 'setuptools<70' $$peer || exit 1; \
	done

# Images a second that reach training, beside Keras's own loader; make feed DIR=photos.
feed: $(VENV)/all
	$(BIN)/python bench/feed.py $(DIR)

# 5,000 images and 24 epochs: the memory of a training stays flat.
memory: $(VENV)/all
	$(BIN)/python bench/memory.py --cache none
	$(BIN)/python bench/memory.py --cache disk

# The built-in classifier, from scikit-learn's digits to runtime/edgecnn/digits.onnx.
digits: $(VENV)/all
	$(BIN)/edgecnn train cnn --dataset digits -o build/digits.keras
	$(BIN)/edgecnn export build/digits.keras -o runtime/edgecnn/digits.onnx
	$(BIN)/python docs/pictures.py

# Normal installs, not editable ones: it is what users get, and what the type checker must see. They are
# done again when a file that they copy has changed.
SOURCES := $(shell git ls-files csrc runtime export train 2>/dev/null) CMakeLists.txt pyproject.toml

$(VENV)/bin/python:
	@$(PYTHON) -c 'import ensurepip, os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h"))' \
		|| { echo "$(PYTHON) lacks venv or its C headers: apt-get install python3-venv python3-dev" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$@ -m pip install --quiet --upgrade pip

$(VENV)/demo: $(VENV)/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet '.[cpu,train,export]'
	touch $@

$(VENV)/all: $(VENV)/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet '.[cpu,train,export,test,bench]'
	touch $@ $(VENV)/demo

clean:
	rm -rf $(VENV) build demo
