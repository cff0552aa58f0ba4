"""One module a page: layout only. Not named `pages`: Streamlit runs a folder of that name beside `app.py` by itself."""
