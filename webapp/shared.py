"""What all browsers of this server process share: made once, when the first page is looked at."""

import streamlit as st

from services.chassis.blobs import Blobs
from webapp.pictures import Pictures
from webapp.settings import WebappSettings
from webapp.subscription import Subscription


@st.cache_resource(show_spinner=False, on_release=Subscription.close)
def subscription() -> Subscription:
    """The one subscription."""
    return Subscription(WebappSettings()).start()


@st.cache_resource(show_spinner=False)
def pictures() -> Pictures:
    """The thumbnails."""
    return Pictures(Blobs(WebappSettings().blobs_root))
