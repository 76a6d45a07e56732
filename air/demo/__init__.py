"""A local page that shows a trained model at work on scenes that a visitor composes.

A canvas on which digits are dragged and scaled needs its own page in any framework, so Gradio's
widgets would add only their fonts, telemetry and hundreds of megabytes. Starlette and uvicorn, two
small packages, serve one static page and a JSON interface, and need no network.
"""
