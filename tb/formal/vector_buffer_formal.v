// SPDX-License-Identifier: Apache-2.0
//
// Every chunk of a vector comes out at its place in each of REPEATS passes.

`default_nettype none

module vector_buffer_formal #(
    parameter CHUNKS  = 1,
    parameter REPEATS = 1
) (
    input wire clk,
    input wire rst,
    input wire mark,
    input wire s_axis_tvalid,
    input wire m_axis_tready
);

    (* anyseq *) wire unknown;

    wire       s_axis_tready, m_axis_tdata, m_axis_tvalid, dye, dyed;
    wire       s_axis_tdata = s_axis_tvalid ? dye : unknown;
    wire [7:0] chunk, in_chunk, unused_item, unused_part, unused_pass, out_chunk;

    vector_buffer #(
        .WIDTH(1), .CHUNKS(CHUNKS), .REPEATS(REPEATS)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

    axis_rules #(.WIDTH(1)) rules (
        .clk(clk), .rst(rst), .payload(m_axis_tdata), .tvalid(m_axis_tvalid),
        .tready(m_axis_tready)
    );
    axis_progress #(.LIMIT(1)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready)
    );

    axis_image #(
        .IN_BEATS(CHUNKS), .ROWS(REPEATS), .COLS(CHUNKS), .TLAST(0), .IMAGES(4), .LIMIT(1)
    ) image (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready), .dye(dye), .s_beat(in_chunk), .s_tag(in_chunk),
        .tag(chunk),
        .item(unused_item),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready), .m_tlast(1'b0),
        .m_row(unused_pass), .m_col(out_chunk), .m_part(unused_part), .dyed(dyed)
    );

    always @* if (m_axis_tvalid) assert (m_axis_tdata == (dyed && out_chunk == chunk));

endmodule

`default_nettype wire
