# demo and test work from a fresh clone on Debian with python3 (3.10 to 3.13), a C++ compiler and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := cpu,train,export,test,bench

.PHONY: demo test test-python test-cpp lint format bench digits clean

demo: $(VENV)/installed
	PATH="$(abspath $(BIN)):$$PATH" docs/demo.sh

test: lint test-cpp test-python

test-python: $(VENV)/installed
	$(BIN)/python -m pytest

test-cpp: $(VENV)/installed
	$(BIN)/cmake -S . -B build/cpp -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DEDGECNN_BUILD_TESTS=ON
	$(BIN)/cmake --build build/cpp
	$(BIN)/ctest --test-dir build/cpp --output-on-failure

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.hpp')
	cd $(VENV) && bin/python -m mypy --config-file ../pyproject.toml

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.hpp')

bench: $(VENV)/installed
	$(BIN)/python bench/kernel.py

# The built-in classifier, from scikit-learn's digits to runtime/edgecnn/digits.onnx.
digits: $(VENV)/installed
	$(BIN)/edgecnn train cnn --dataset digits -o build/digits.keras
	$(BIN)/edgecnn export build/digits.keras -o runtime/edgecnn/digits.onnx

# A normal install, not an editable one: it is what users get, and what the type checker must see. It is
# done again when a file that it copies has changed.
SOURCES := $(shell git ls-files csrc runtime export train 2>/dev/null) CMakeLists.txt pyproject.toml

$(VENV)/installed: $(SOURCES)
	@$(PYTHON) -c 'import ensurepip, os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h"))' \
		|| { echo "$(PYTHON) lacks venv or its C headers: apt-get install python3-venv python3-dev" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV) build demo
