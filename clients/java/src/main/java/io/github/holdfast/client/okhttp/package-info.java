/**
 * The tokens of a {@link io.github.holdfast.client.TokenSource} in OkHttp, whose library
 * ({@code com.squareup.okhttp3:okhttp}, 4.12 or later) your project names itself.
 */
package io.github.holdfast.client.okhttp;
