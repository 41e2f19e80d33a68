# The usual commands; `just` lists them.
default:
    @just --list

# Everything that a change must pass.
check: lint types test

lint:
    ruff check .
    ruff format --check .

types:
    pyright

test *args:
    pytest {{args}}

# Against a real ComfyUI: just comfyui ~/comfy/ComfyUI
comfyui path *args:
    COMFYUI_PATH={{path}} BACKPLATE_EXPECT=comfyui pytest tests/comfyui {{args}}

# The rows of the GPU drill, with tiny sizes on the CPU.
drill-dry out="drill":
    python benchmarks/gpu_drill.py --dry -o {{out}}
