"""How fast a server answers: load from perf_analyzer with real requests, and the limit without a server.

Usage:
    visrec bench --data shop --url localhost:8001 --repository model_repository
"""
