"""The entry: `python -m streamlit run webapp/app.py` at the root of the repository."""

import streamlit as st

from webapp.views import live, loop, trouble

st.set_page_config(page_title="Loopline", page_icon="🔁", layout="wide")
st.navigation(
    [
        st.Page(live.show, title="Live", icon=":material/visibility:", default=True),
        st.Page(loop.show, title="Loop", icon=":material/autorenew:", url_path="loop"),
        st.Page(trouble.show, title="Trouble", icon=":material/report:", url_path="trouble"),
    ]
).run()
