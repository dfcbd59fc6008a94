"""How fast visrec serves: its share of the limit, and the servers that a user might pick instead.

    python -m benchmarks.serving --data build/demo/data --checkpoint build/demo/run/best.pt \
        --repository lite0-fp32=build/lite0-fp32 --repository resnet50-fp32=build/resnet50-fp32

Each repository is one that `visrec export` made. The figures go to benchmarks/results/serving.json, and into
docs/performance.md. What is measured is kept part by part in --work, so a run that is cut short goes on.
"""
