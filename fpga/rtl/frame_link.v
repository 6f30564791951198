// SPDX-License-Identifier: Apache-2.0
//
// The wire on one side, frames on the other: one at a time comes in, and is answered.

`default_nettype none

module frame_link #(
    parameter IMAGE_BYTES  = 784,  // payload of `classify`, at most 65,535
    parameter LENGTH_WIDTH = 16,   // bits of a reply's length, at most 16
    parameter BAUD_DIVISOR = 8     // clocks a bit, at least 8
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire                    uart_rx,
    output wire                    uart_tx,
    output wire                    silence_restart,  // to timeout
    input  wire                    silence_expired,
    // The frame that comes in: see frame_receive.
    output wire                    idle,
    output wire [7:0]              data,
    output wire                    payload_valid,    // data is a byte of the payload
    output wire                    image_valid,      // and that is an image
    output wire                    frame_valid,
    output wire [3:0]              frame_code,
    output wire                    identify,
    output wire                    classify,
    output wire                    repeating,
    output wire                    status,
    // The reply: see frame_send.
    input  wire                    answering,        // from reply_start until reply_done
    input  wire                    reply_start,
    input  wire                    reply_error,      // what is still under way is ignored
    input  wire [LENGTH_WIDTH-1:0] reply_length,
    output wire [LENGTH_WIDTH-1:0] reply_index,
    input  wire [7:0]              reply_byte,
    output wire                    reply_taken,
    output wire                    reply_done
);

    wire       rx_line, rx_bit, rx_bit_valid, rx_valid, rx_framing_error;
    wire       tx_bit, tx_bit_valid, tx_valid, tx_ready;
    wire [7:0] tx_data, command, tag, crc_byte;
    wire       rx_crc_init, rx_crc_step, rx_crc_drain;
    wire       tx_crc_init, tx_crc_step, tx_crc_drain;

    uart_rx #(
        .BAUD_DIVISOR (BAUD_DIVISOR)
    ) receiver (
        .clk            (clk),
        .rst            (rst),
        .rx             (uart_rx),
        .line           (rx_line),
        .data_bit       (rx_bit),
        .data_bit_valid (rx_bit_valid),
        .data           (data),
        .valid          (rx_valid),
        .framing_error  (rx_framing_error)
    );

    uart_tx #(
        .BAUD_DIVISOR (BAUD_DIVISOR)
    ) transmitter (
        .clk            (clk),
        .rst            (rst),
        .data           (tx_data),
        .valid          (tx_valid),
        .ready          (tx_ready),
        .data_bit       (tx_bit),
        .data_bit_valid (tx_bit_valid),
        .tx             (uart_tx)
    );

    frame_receive #(
        .IMAGE_BYTES (IMAGE_BYTES)
    ) receive (
        .clk              (clk),
        .rst              (rst),
        .rx_line          (rx_line),
        .rx_bit           (rx_bit),
        .rx_bit_valid     (rx_bit_valid),
        .rx_data          (data),
        .rx_valid         (rx_valid),
        .rx_framing_error (rx_framing_error),
        .silence_restart  (silence_restart),
        .silence_expired  (silence_expired),
        .crc_init         (rx_crc_init),
        .crc_step         (rx_crc_step),
        .crc_drain        (rx_crc_drain),
        .crc_bit          (crc_byte[0]),
        .idle             (idle),
        .payload_valid    (payload_valid),
        .image_valid      (image_valid),
        .frame_valid      (frame_valid),
        .code             (frame_code),
        .command          (command),
        .tag              (tag),
        .identify         (identify),
        .classify         (classify),
        .repeating        (repeating),
        .status           (status),
        .resume           (reply_done),
        .drain            (reply_error)
    );

    frame_send #(
        .LENGTH_WIDTH (LENGTH_WIDTH)
    ) send (
        .clk           (clk),
        .rst           (rst),
        .start         (reply_start),
        .command       (command),
        .tag           (tag),
        .length        (reply_length),
        .payload_index (reply_index),
        .payload_data  (reply_byte),
        .payload_taken (reply_taken),
        .done          (reply_done),
        .tx_data       (tx_data),
        .tx_valid      (tx_valid),
        .tx_ready      (tx_ready),
        .tx_bit_valid  (tx_bit_valid),
        .crc_init      (tx_crc_init),
        .crc_step      (tx_crc_step),
        .crc_drain     (tx_crc_drain),
        .crc_byte      (crc_byte)
    );

    // One for both directions, since the board never listens while it answers.
    crc32 crc32 (
        .clk      (clk),
        .init     (answering ? tx_crc_init : rx_crc_init),
        .step     (answering ? tx_crc_step : rx_crc_step),
        .drain    (answering ? tx_crc_drain : rx_crc_drain),
        .data_bit (answering ? tx_bit : rx_bit),
        .value    (crc_byte)
    );

endmodule

`default_nettype wire
